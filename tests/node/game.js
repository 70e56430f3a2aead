// A player's browser in a small game, without the browser; game.py is its server.
//
// It can be kissed (com.example.kiss), unless the kiss is "baveux"; it moves by
// calling com.example.move; it follows com.example.position and com.example.message
// and says something itself, asking the router to acknowledge it.
'use strict';

const autobahn = require('./autobahn.js');
const { settings, tell } = require('./lines.js');

const want = settings();
const connection = autobahn.connect(want);

connection.onopen = async (session) => {
  await session.register('com.example.kiss', (args, kwargs) => {
    tell('kissed', { args, kwargs });
    return kwargs.type !== 'baveux';
  });
  await session.subscribe('com.example.position', (args, kwargs) => tell('position', { args, kwargs }));
  await session.subscribe('com.example.message', (args) => tell('heard', { text: args[0], author: args[1] }));
  tell('ready');

  const laugh = await session.call('com.example.move', [3, 5], { mean: 'roulades' });
  tell('moved', { answer: laugh });
  const said = await session.publish('com.example.message', ['Hello everybody', want.name], {}, { acknowledge: true });
  tell('said', { publication: said.id });
};

connection.open();
process.stdin.on('end', () => process.exit(0)).resume();
