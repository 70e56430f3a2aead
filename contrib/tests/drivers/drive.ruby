if ARGV[0] == "key"
  puts callback_key(ARGV[1])
else
  _, key, id, timestamp, signatures, file = ARGV
  puts verify(key, id, timestamp, signatures, File.binread(file)) ? "yes" : "no"
end
