import sys
def main_handler(e, c):
 for _ in range(1024): sys.stdout.write('x' * (1 << 20))
 print('last')
