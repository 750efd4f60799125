def main_handler(e, c): raise ValueError('no')
