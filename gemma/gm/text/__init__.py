"""gm.text"""
