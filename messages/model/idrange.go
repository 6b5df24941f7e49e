package model

// IDRange is a range of user and group ids of the node that a pod's user namespace has for its own from 0 on.
type IDRange struct{ First, Length uint32 }
