"""gm.ckpts"""
