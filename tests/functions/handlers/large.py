def main_handler(e, c): return 'x' * (7 << 20)
