"""gm.hub"""
