def main_handler(e, c):
 while True: pass
