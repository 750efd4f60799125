import os, time
def main_handler(e, c):
 f = os.memfd_create('x')
 while True:
  os.write(f, bytes(1 << 20)); time.sleep(.001)
