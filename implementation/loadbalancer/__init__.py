"""The reference load balancer: addresses for Services of type LoadBalancer, announced by layer 2.

``controller`` hands out addresses and writes them into the status; a ``speaker`` on each node announces
them. What is decided is decided in modules without sockets or clocks: pools, allocate, assignment, elect,
takeover.
"""
