"""gm.math"""
