"""Clients that tell which model they train, for the defenses that compute with it."""

from dataclasses import dataclass

from jleak.check import InputError
from jleak.types import Batch, Client, Key, Model, Params


@dataclass(frozen=True)
class Telling:
    """A client with the model that it trains, as `FedSGD` has it.

    Attributes:
      model: the model.
      run: the client.

    >>> client = Telling("a model", lambda key, params, batch: params)
    >>> client.model, client(None, {"w": 1}, None)
    ('a model', {'w': 1})
    """

    model: Model
    run: Client

    def __call__(self, key: Key, params: Params, batch: Batch) -> Params:
        return self.run(key, params, batch)


def telling(client: Client, run: Client) -> Client:
    """`run`, which tells the model that `client` tells, if it tells any.

    What a defense returns, so that the next one knows the model as well.

    >>> inner = Telling("a model", sum)
    >>> telling(inner, max).model, telling(sum, max)
    ('a model', <built-in function max>)
    """
    return Telling(client.model, run) if hasattr(client, "model") else run


def told_model(client: Client, name: str) -> Model:
    """The model that a client tells.

    Args:
      client: the client.
      name: who asks, for the message.

    Raises:
      InputError: it tells none.

    >>> told_model(sum, "soteria")
    Traceback (most recent call last):
    jleak.check.InputError: soteria needs a client that tells its model, got <built-in function sum>; wrap \
it: jleak.clients.Telling(model, client), in a defense of your own: telling(client, defended)
    """
    if not hasattr(client, "model"):
        raise InputError(
            f"{name} needs a client that tells its model, got {client}; wrap it: "
            "jleak.clients.Telling(model, client), in a defense of your own: telling(client, defended)"
        )
    return client.model
