"""What goes over the wire, without any network: frames, Noise, binary XML, protobuf."""
