"""Peer-to-peer learning: peers that train and mix with their neighbours, without a server."""
