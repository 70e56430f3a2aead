// Package backendtest is the suite that every backend passes: it holds a core.Backend
// to its contract, directly and as the plugin process that the bridge runs.
//
// A backend's own test says what the suite has to know of it:
//
//	func TestMain(m *testing.M) {
//		backendtest.Main(m, func(log *slog.Logger) core.Backend { return mine.New(log) })
//	}
//
//	func TestConformance(t *testing.T) {
//		server := minetest.Start(t)
//		backendtest.Run(t, backendtest.System{
//			New:    func(log *slog.Logger) core.Backend { return mine.New(log) },
//			Config: func(testing.TB) json.RawMessage { return json.RawMessage(`{"url": "` + server.URL + `"}`) },
//			Kill:   func(testing.TB) { server.Kill() },
//			Start:  func(testing.TB) { server.Start() },
//		})
//	}
//
// A plugin in any other language, or outside this repository, is tested as a
// program: System.Command in place of New.
//
// The suite opens two or three backends on one system and uses nothing but
// core.Backend: what one publishes or calls, another one hears. It checks what the
// backends declare in core.Capabilities, and that they leave the rest alone. What is
// particular to a system (who sent a message, how a payload looks to others) needs
// tests of its own, with a client of that system.
package backendtest
