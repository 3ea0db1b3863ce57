"""The errors of the client: a problem document, or no answer at all. Loads no HTTP library."""

from mltm.contract.problems import Problem

__all__ = ["MltmError", "UnreachableError", "build_error", "render_problem"]


def render_problem(problem: Problem) -> str:
    """Render a problem as sentences: what is wrong, where, and what to do."""
    parts = [problem.detail or problem.title, *(str(field).strip() for field in problem.fields), problem.next_step]
    return " ".join(part for part in parts if part)


class MltmError(Exception):
    """The gateway refused. `problem` has the stable key, the HTTP status, the message and the next step."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(render_problem(problem))
        self.problem = problem

    @property
    def key(self) -> str:
        """The stable key, for programs."""
        return self.problem.key


class UnreachableError(MltmError):
    """No answer came, or the gateway cannot answer now. The problem's status is 0 if no answer came."""


def build_error(key: str, detail: str, next_step: str = "", *, status: int = 0) -> MltmError:
    """Build an error of the client. Status 0, 429, 502, 503 or 504: the gateway gave no answer."""
    problem = Problem(title=key.replace("_", " "), status=status, detail=detail, key=key, next_step=next_step)
    return UnreachableError(problem) if status in {0, 429, 502, 503, 504} else MltmError(problem)
