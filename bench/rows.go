package main

// What every row uses.
const (
	procedure  = "com.bench.add2"
	topic      = "com.bench.tick"
	realm      = "realm1"
	callBody   = `{"args":[$A,$B]}`
	eventBody  = `{"args":["$T"]}`
	benchToken = "bench-token-that-is-long-enough-for-any-rule"
)

// rows is the table, in the order it is printed.
func rows() []row {
	return []row{
		{
			id: "1", title: "HTTP call → WAMP callee", unit: "calls/s", warm: true,
			entries: []entry{
				{ours, "anybridge", bridgeHTTPToWAMP},
				{floor, "Go forwarder", floorHTTPToHTTP},
				{peer, "Crossbar", crossbarHTTPToWAMP},
			},
			targets: []target{{against: floor, atLeast: 0.7}, {against: peer, atLeast: 4}},
		},
		{
			id: "2", title: "WAMP call → HTTP callback", unit: "calls/s", warm: true,
			entries: []entry{
				{ours, "anybridge", bridgeWAMPToHTTP},
				{floor, "Go WebSocket forwarder", floorWAMPToHTTP},
				{peer, "Crossbar RESTCallee", crossbarWAMPToHTTP},
			},
			targets: []target{{against: peer, atLeast: 4}},
		},
		{
			id: "3", title: "HTTP call → WAMP → HTTP callback", unit: "calls/s", warm: true,
			entries: []entry{
				{ours, "anybridge", bridgeHTTPToHTTP},
				{floor, "Go forwarder", floorHTTPToHTTP},
				{peer, "Crossbar + RESTCallee", crossbarHTTPToHTTP},
			},
			targets: []target{{against: floor, atLeast: 0.5}, {against: peer, atLeast: 4}},
		},
		{
			id: "4", title: "HTTP publish → WAMP subscriber", unit: "events/s", warm: true,
			entries: []entry{
				{ours, "anybridge", bridgePublish},
				{floor, "Go echo", floorEcho},
				{peer, "Crossbar", crossbarPublish},
			},
			targets: []target{{against: floor, atLeast: 0.4}, {against: peer, atLeast: 4}},
		},
		{
			id: "5", title: "WAMP publish → durable HTTP callback", unit: "events/s", warm: true,
			entries: []entry{
				{ours, "anybridge", bridgeDeliver},
				{floor, "Go WebSocket forwarder", floorDeliver},
				{peer, "Crossbar MessageForwarder", crossbarDeliver},
			},
			targets: []target{{against: floor, atLeast: 0.5}, {against: peer, atLeast: 4}},
		},
		{
			id: "6", title: "one publisher → 1,000 WebSocket subscribers", unit: "deliveries/s", warm: true,
			entries: []entry{
				{ours, "anybridge", bridgeFanout},
				{floor, "nexus", nexusFanout},
				{peer, "Crossbar", crossbarFanout},
			},
			targets: []target{{against: floor, atLeast: 1.5}, {against: peer, atLeast: 4}},
		},
		{
			id: "7", title: "start to ready", unit: "ms", lessIsBetter: true,
			entries: []entry{
				{ours, "anybridge", bridgeStart},
				{floor, "nexus", nexusStart},
				{peer, "Crossbar", crossbarStart},
			},
			targets: []target{{against: ours, atMost: 300}},
		},
		{
			id: "8", title: "idle memory after 5 s", unit: "MB", lessIsBetter: true, maxRounds: 3,
			entries: []entry{
				{ours, "anybridge", bridgeIdle},
				{floor, "nexus", nexusIdle},
				{peer, "Crossbar", crossbarIdle},
			},
			targets: []target{{against: ours, atMost: 90}},
		},
		{
			id: "9", title: "WAMP call → WAMP callee", unit: "calls/s", warm: true,
			entries: []entry{
				{ours, "anybridge's router", bridgeRouting(false)},
				{floor, "nexus", nexusRouting(false)},
				{peer, "Crossbar", crossbarRouting},
			},
			targets: []target{{against: peer, atLeast: 4}},
		},
		{
			id: "9b", title: "the same with nexus' own client on both sides", unit: "calls/s", warm: true,
			entries: []entry{
				{ours, "anybridge's router", bridgeRouting(true)},
				{floor, "nexus", nexusRouting(true)},
			},
		},
		{
			id: "10", title: "HTTP publish → durable HTTP callback", unit: "events/s", warm: true,
			entries: []entry{
				{ours, "anybridge", bridgePublishDeliver},
				{floor, "Go forwarder, keeps nothing", floorPublishDeliver},
			},
			targets: []target{{against: floor, atLeast: 0.5}},
		},
		{
			id: "11", title: "HTTP publish, acknowledged when stored", unit: "events/s", warm: true,
			entries: []entry{
				{ours, "anybridge, durability process", bridgeStore("process")},
				{floor, "Go echo", floorEcho},
			},
		},
		{
			id: "11d", title: "the same, synced to the disk", unit: "events/s", warm: true,
			entries: []entry{
				{ours, "anybridge, durability disk", bridgeStore("disk")},
				{floor, "Go echo", floorEcho},
			},
		},
		{
			id: "12", title: "1,000,000 waiting deliveries: restart to first delivery", unit: "ms", lessIsBetter: true, maxRounds: 1,
			entries: []entry{{ours, "anybridge", bridgeWaiting(1_000_000)}},
		},
		{
			id: "13", title: "10,000 subscriptions: restart to ready", unit: "ms", lessIsBetter: true, maxRounds: 1,
			entries: []entry{{ours, "anybridge", bridgeSubscriptions(10_000)}},
		},
		{
			id: "14", title: "HTTP publish → Redis channel", unit: "events/s", warm: true,
			entries: []entry{
				{ours, "anybridge", bridgePublishRedis},
				{floor, "Go forwarder (go-redis)", floorPublishRedis},
				{peer, "Webdis", webdisPublish},
			},
			targets: []target{{against: peer, atLeast: 0.5}},
		},
		{
			id: "15", title: "WAMP topic → Redis channel", unit: "events/s", warm: true,
			entries: []entry{
				{ours, "anybridge, a route", bridgeRoute("")},
				{floor, "nexus → go-redis loop", floorRoute(false)},
			},
			targets: []target{{against: floor, atLeast: 0.6}},
		},
		{
			id: "15p", title: "the same, the loop with a pipeline", unit: "events/s", warm: true,
			entries: []entry{
				{ours, "anybridge, a route", bridgeRoute("")},
				{floor, "nexus → go-redis pipeline", floorRoute(true)},
			},
		},
		{
			id: "15d", title: "the same, a durable route", unit: "events/s", warm: true,
			entries: []entry{
				{ours, "anybridge, durable route", bridgeRoute(", durable: true")},
				{floor, "the loop, keeps nothing", floorRoute(false)},
			},
		},
		{
			id: "15f", title: "the same, published as fast as the router takes it", unit: "events/s", warm: true,
			entries: []entry{{ours, "anybridge, a route", bridgeRouteFlooded}},
		},
		{
			id: "16", title: "memory with all four plugins, idle", unit: "MB", lessIsBetter: true, maxRounds: 1,
			entries: []entry{{ours, "anybridge", bridgePlugins}},
		},
	}
}
