def main_handler(e, c
