"""A real RTSP server, GStreamer's: ``python3 rtsp_server.py PORT [USER PASSWORD]`` with Debian's Python; not a test module.

``/h264`` shows a ball at 192 x 96, 25 a second. It says ``ready`` once it listens.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - after the versions

PICTURES = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=192,height=96,framerate=25/1"
STREAM = "openh264enc gop-size=5 ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1"


def main(port, *credentials):
    """Serve until killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    if credentials:
        auth, token = GstRtspServer.RTSPAuth.new(), GstRtspServer.RTSPToken.new()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*credentials), token)
        server.set_auth(auth)
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(f"( {PICTURES} ! {STREAM} )")
    factory.set_shared(True)
    if credentials:
        permissions = GstRtspServer.RTSPPermissions.new()
        for role in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role("user", role, True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/h264", factory)
    if not server.attach(None):
        sys.exit("the port is taken")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
