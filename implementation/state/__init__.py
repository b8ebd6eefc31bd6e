"""What must be served on this node, decided once for every mode; pure functions, one a decision.

``serve.serve(service, slices, node)`` is the way in: merge of slices (``merge``), usable endpoints
(``usable``), hints (``topology``), traffic policies (``policy``). No socket, clock or process is known
here.
"""
