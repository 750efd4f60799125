import os, glob
def main_handler(e, c): return [os.getuid() > 0, os.path.exists('/root'), glob.glob('/home/*'), len([p for p in os.listdir('/proc') if p.isdigit()]) < 9, sorted(os.environ)]
