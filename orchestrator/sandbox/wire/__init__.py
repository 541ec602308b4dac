"""What goes over the wire, without any network: frames, binary XML, protobuf."""
