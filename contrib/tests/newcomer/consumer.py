"""A user's module, as mypy --strict sees it with the installed packages."""

from anybridge import Client, Context, RemoteError
from anybridge_django import call, publish, rpc, sub
from anybridge_flask import AnyBridge

bridge = AnyBridge()


@rpc("com.example.add2")
def add2(a: int, b: int) -> int:
    return a + b


@rpc
async def name(*, ctx: Context) -> str:
    return ctx.name


@sub("com.example.order", match="prefix")
def on_order(order: dict[str, str], *, ctx: Context) -> None:
    publish("com.example.seen", [ctx.id])


@bridge.rpc("com.example.double")
def double(n: int) -> int:
    return 2 * n


def use() -> tuple[int, str]:
    with Client("http://127.0.0.1:8181/", "token") as client:
        try:
            client.call("com.example.add2", [1, 2], timeout=2.5)
        except RemoteError as error:
            return add2(1, double(2)), error.uri
        return int(call("com.example.double", [4])), client.publish("com.example.t")


wrong: str = add2(1, 2)  # expect: Incompatible types in assignment
rpc("com.example.x", match="regex")  # expect: No overload variant of "rpc"
Client("http://127.0.0.1:8181/").call("com.example.x")  # expect: Missing positional argument
bridge.publish(7)  # expect: incompatible type "int"; expected "str"
