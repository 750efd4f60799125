import socket
def main_handler(e, c): socket.create_connection(('127.0.0.1', 9001), 1)
