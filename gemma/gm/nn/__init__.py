"""gm.nn"""
