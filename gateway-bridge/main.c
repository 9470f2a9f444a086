/* longwave-gateway-bridge. */
#include "gateway-bridge/bridge.h"

int main(int argc, char **argv)
{
	return rt_daemon_main(argc, argv, &gb_daemon);
}
