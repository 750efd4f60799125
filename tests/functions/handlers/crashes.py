import os
def main_handler(e, c): os.kill(os.getpid(), 11)
