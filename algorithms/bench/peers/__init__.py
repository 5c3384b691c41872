"""What is measured beside Covey: a script each, run by the Python that has the peer, by its path.

A script imports nothing of Covey, only its neighbours in this folder.
"""
