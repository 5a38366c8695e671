"""Page one: an expression is its graph, and the chain rule walks through it."""

from engine import Backprop, Value, compare, draw, label_all
from nn import gradient_descent_step

# A neuron with one input: z = w·x + b, a = σ(z), and half the squared error to a target y.
x, y = Value(1.5), Value(1.0)
w, b = Value(0.3), Value(-0.2)
z = w * x + b
a = z.sigmoid()
L = 0.5 * (y - a) ** 2
label_all(locals())
print(f"forward:  z = {z:.4f}, a = {a:.4f}, L = {L:.6f}")

# Backward, a line of the derivation at a time.
walk = Backprop(L)
print(f"\nThe walk has {len(walk)} steps. The first line of the derivation:\n")
print(walk.next())

print("\nand at the sigmoid:\n")
walk.run_to(a)
print(walk.step())

# To the end, and the question why.
walk.run()
print(f"\n{walk.why(w)}")

# Is it what the hand says?
report = compare(L, {"w": "-(y - a)*a*(1 - a)*x", "b": "-(y - a)*a*(1 - a)"})
print(f"\n{report}")

# One step of gradient descent, and the loss is smaller.
before = L.data
gradient_descent_step([w, b], lr=0.5)
L.refresh()
print(f"\nL before the step: {before:.6f}, after it: {L:.6f}")

# The picture.
print(f"\nwrote {draw(L).save('first_steps.svg')}")
