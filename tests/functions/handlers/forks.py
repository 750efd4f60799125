import os, time
def main_handler(e, c):
 n = 0
 try:
  while True:
   if os.fork() == 0: time.sleep(99)
   n += 1
 except OSError: return n < 300
