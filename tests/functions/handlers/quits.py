import sys
def main_handler(e, c): sys.exit(0)
