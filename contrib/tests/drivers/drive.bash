if [[ $1 == key ]]; then
  callback_key "$2"
elif verify "${@:2}"; then
  echo yes
else
  echo no
fi
