"""Hand derivations, right and wrong, made symbolically and without the checker: the measure of naming mistakes.

A graph is drawn as formula text (`graphs`), differentiated by a small chain rule of its own that is read as numbers or
as SymPy expressions (`tape`), in which one thing is changed as students change it (`mistakes`), and the answer is
written out as one of them would (`writing`). Nothing here is shared with the engine.
"""
