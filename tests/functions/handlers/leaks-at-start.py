import time
x = []
while True:
 x.append(bytearray(1 << 20)); time.sleep(.001)
