import time; time.sleep(99)
