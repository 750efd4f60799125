import os
def main_handler(e, c): os._exit(3)
