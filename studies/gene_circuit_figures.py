"""x"""
def figures(tree): return {}
