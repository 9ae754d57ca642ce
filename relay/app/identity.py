"""Service accounts as clients: which client a pod's token belongs to."""

from collections.abc import Callable, Mapping

from relay.domain.codes import ProblemCode
from relay.domain.errors import Unavailable
from relay.kubernetes.reviews import ReviewFailed, TokenReviews
from relay.observability.recorder import Recorder
from relay.sending.ports import RETRY_SOON_SECONDS, Clock
from relay.settings import KubernetesSettings


class ServiceAccounts:
    """Implements ``Tokens`` for the gate.

    Args:
        bound: service account (``namespace/name``) → client; read at every use, so that a reload takes effect at once.
    """

    def __init__(
        self, settings: KubernetesSettings, bound: Callable[[], Mapping[str, str]], clock: Clock, recorder: Recorder
    ) -> None:
        self._bound = bound
        self._recorder = recorder
        self._reviews = TokenReviews(
            api_url=settings.api_url,
            token_file=settings.token_file,
            ca_file=settings.ca_file,
            audience=settings.audience,
            clock=clock,
            is_bound=lambda account: account in bound(),
        )

    async def find_client(self, token: bytes) -> str | None:
        """The client whose service account the token belongs to; ``None`` if there is none.

        Raises:
            Unavailable: the API server does not answer.
        """
        try:
            account = await self._reviews.find_account(token)
        except ReviewFailed as failure:
            self._recorder.record_unchecked_token(failure.trouble.value)
            detail = "The token cannot be checked now: the Kubernetes API server gives no answer. Nothing was sent."
            raise Unavailable(ProblemCode.OVERLOADED, detail, retry_after_seconds=RETRY_SOON_SECONDS) from None
        return None if account is None else self._bound().get(account)

    async def aclose(self) -> None:
        """Drop the connections to the API server."""
        await self._reviews.aclose()
