import time
def main_handler(e, c): time.sleep(99)
