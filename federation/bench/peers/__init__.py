"""Federated averaging without Covey: a script each, run by the Python that has what it needs.

A script imports nothing of Covey, only its neighbours in this folder.
"""
