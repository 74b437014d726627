"""The Docker driver: containers, compose projects and Swarm services of one engine as a fleet."""
