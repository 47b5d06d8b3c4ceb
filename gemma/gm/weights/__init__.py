"""gm.weights"""
