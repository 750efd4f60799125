def main_handler(e, c): return object()
