# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Answers to the exercises of tutorial 1

# %% [markdown]
# **Exercise 1.** $y = (1 + e^{-x})^{-1}$, so $dy/dx = e^{-x} (1 + e^{-x})^{-2} = y\, (1 - y)$: with $y$ alone.


# %% tags=["exercise-1"]
def sigmoid_backward(y, dy):
    return dy * y * (1 - y)


# %% tags=["wrong-1a"]
def sigmoid_backward(y, dy):
    return y * (1 - y)  # the derivative, without the gradient of the output


# %% tags=["wrong-1b"]
def sigmoid_backward(y, dy):
    return dy * (1 - y**2)  # that of tanh


# %% [markdown]
# **Exercise 2.** For one row, $\partial y_i / \partial x_j = y_i\, ([i = j] - y_j)$: the numerator of $y_i$
# depends on $x_i$ alone, the denominator on every $x_j$. So $\bar x_j = \sum_i \bar y_i\, y_i\, ([i = j] - y_j)
# = y_j\, (\bar y_j - \sum_i \bar y_i y_i)$.


# %% tags=["exercise-2"]
def softmax_backward(y, dy):
    return y * (dy - (dy * y).sum(axis=1, keepdims=True))


# %% tags=["wrong-2a"]
def softmax_backward(y, dy):
    return dy * y * (1 - y)  # the diagonal of the Jacobian alone


# %% tags=["wrong-2b"]
def softmax_backward(y, dy):
    return y * (dy - (dy * y).sum())  # the rows are mixed


# %% [markdown]
# **Exercise 3.** A value may be listed when all its users are. So count the users of each value first, and count
# down while listing. A walk in depth with a list in place of the calls is as good.


# %% tags=["exercise-3"]
def order_of(output):
    users, waiting = {output: 0}, [output]  # how many users of a value are still to come
    while waiting:
        for source in waiting.pop().inputs:
            if source not in users:
                users[source] = 0
                waiting.append(source)
            users[source] += 1
    order, ready = [], [output]
    while ready:
        value = ready.pop()
        order.append(value)
        for source in value.inputs:
            users[source] -= 1
            if users[source] == 0:
                ready.append(source)
    return order


# %% tags=["wrong-3a"]
def order_of(output):
    order, seen = [], set()

    def visit(value):
        if value not in seen:
            seen.add(value)
            for source in value.inputs:
                visit(source)
            order.append(value)

    visit(output)
    return order[::-1]


# %% tags=["wrong-3b"]
def order_of(output):
    order, waiting = [], [output]  # breadth first: a value may come before one of its users
    while waiting:
        value = waiting.pop(0)
        if value not in order:
            order.append(value)
            waiting += value.inputs
    return order
