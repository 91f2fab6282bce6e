"""What people keep of a scene: splats, a mesh, a turntable."""
