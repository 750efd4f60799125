import os, time
def main_handler(e, c):
 if os.fork() == 0:
  x = bytearray(200 << 20); time.sleep(99)
 time.sleep(99)
