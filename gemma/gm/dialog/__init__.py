"""gm.dialog"""
