import time
def main_handler(e, c):
 x = []
 while True:
  x.append(bytearray(1 << 20)); time.sleep(.001)
