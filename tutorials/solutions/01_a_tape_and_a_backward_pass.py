# %% tags=["exercise-1"]
def sigmoid_backward(y, dy):
    return dy * y * (1 - y)


# %% tags=["wrong-1a"]
def sigmoid_backward(y, dy):
    return y * (1 - y)  # the derivative, without the gradient of the output


# %% tags=["wrong-1b"]
def sigmoid_backward(y, dy):
    return dy * (1 - y**2)  # that of tanh


# %% tags=["exercise-2"]
def softmax_backward(y, dy):
    # dy_i/dx_j = y_i ([i = j] - y_j)
    return y * (dy - (dy * y).sum(axis=1, keepdims=True))


# %% tags=["wrong-2a"]
def softmax_backward(y, dy):
    return dy * y * (1 - y)  # the diagonal of the Jacobian alone


# %% tags=["wrong-2b"]
def softmax_backward(y, dy):
    return y * (dy - (dy * y).sum())  # the rows are mixed


# %% tags=["exercise-3"]
def order_of(output):
    # A value may be listed when all its users are; so count the users that are still to come.
    users, waiting = {output: 0}, [output]
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
