def main_handler(e, c):
 open('/tmp/x', 'w').write('x')
 open('/var/user/x', 'w')
