def other(e, c): pass
